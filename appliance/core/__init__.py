"""Types and small tools that every room may use; imports nothing of ours."""
