"""Metrics: functions of feature arrays, in NumPy alone; `registry` names them all."""
