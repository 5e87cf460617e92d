"""What an operator sees: the feed of events and the server behind the Unix socket."""
