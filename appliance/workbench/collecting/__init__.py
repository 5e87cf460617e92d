"""What a fleet's devices report: taken in, kept, added up, and set side by side."""
