"""What a guest is told about itself: the cloud-init seed and its secrets."""
