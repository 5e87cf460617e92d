"""From detections to events: who is who from frame to frame, and what each one does."""
