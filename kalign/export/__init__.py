"""From a finished run to a model that others load: merged, proven, described, and only then named."""
