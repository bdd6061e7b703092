"""Transfer methods: one file each, listed in `registry`."""
