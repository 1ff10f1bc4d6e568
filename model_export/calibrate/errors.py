"""The refusal of a calibration."""


class CalibrationError(Exception):
    """The calibration rows do not support the temperature or the precision that was asked for."""

    exit_code = 1
