"""What is managed, whichever kind it is: nothing here knows certificates or keys."""
