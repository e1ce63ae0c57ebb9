"""What a delivery is called in ids."""

KIND = "delivery"
