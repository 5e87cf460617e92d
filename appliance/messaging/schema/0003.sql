-- CLOCK_BOOTTIME at which the boot's offset was taken: how far another moment is from it tells how far it may be off.
ALTER TABLE boot ADD COLUMN offset_at_ns INTEGER;
