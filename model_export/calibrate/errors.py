"""The error of a calibration."""


class CalibrationError(Exception):
    """The calibration rows do not suffice for the temperature or the requested precision."""

    exit_code = 1
