"""What an instance may ask about itself, at http://100.100.100.200 in its own VPC (SPEC I11)."""
