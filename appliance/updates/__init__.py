"""From the fleet's repository to the model in service."""
