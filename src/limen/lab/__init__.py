"""The lab: data, networks, training, statistics and reports that find out which activation a model should use."""
