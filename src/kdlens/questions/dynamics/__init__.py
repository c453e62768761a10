"""When did it learn what it knows, and by how straight a path?"""
