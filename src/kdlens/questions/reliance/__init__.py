"""Does it look at the object or at the background?"""
