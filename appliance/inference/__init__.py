"""From a frame to results: preprocess, runtimes, decoders, nms, artifacts, and the detector that joins them."""
