"""What a fleet is given: releases, rollouts and the metadata that is signed about them."""
