"""Which human concepts do a network's units detect? Network dissection of teacher, student and baseline."""
