"""From events to subscribers: a numbered outbox on disk, and MQTT."""
