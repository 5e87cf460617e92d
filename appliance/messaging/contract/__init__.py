"""What is published, as types: builders are checked against them, and schemas are made from them.

The daemon loads none of this: builders name these types for mypy alone.
"""
