"""How much does it know, on the object and off it?"""
