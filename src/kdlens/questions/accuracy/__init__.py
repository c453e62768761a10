"""Did it help? Accuracy, calibration, likeness to the teacher, and a verdict."""
