"""How a file of weights becomes a model: what it says of itself, what its outputs are, what it sees best with."""
