"""Did the teacher's class similarity arrive? Which classes networks find alike, and what a student has of that."""
