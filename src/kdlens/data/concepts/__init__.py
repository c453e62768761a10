"""Images annotated with concepts: objects, parts, colours and textures of their pixels, and labels of the whole."""
