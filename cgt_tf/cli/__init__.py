"""Commands: flags in, the right calls in the right order, exit status out."""
