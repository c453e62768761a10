"""Where does the student look that the baseline did not, and what did it drop?"""
