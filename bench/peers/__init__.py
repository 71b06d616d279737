"""What Trunkline is measured against: the same job, written plainly."""
