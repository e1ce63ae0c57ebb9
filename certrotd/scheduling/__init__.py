"""What is due, and when: the scheduler and what holds it back."""
