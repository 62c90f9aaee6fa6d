"""The commands that make, look at and share stores: each parses, calls one library function, and prints."""
