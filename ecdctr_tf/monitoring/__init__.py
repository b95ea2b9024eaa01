"""What is watched of levels while nobody looks: drift, coverage, gauges."""
