"""Made-up data on which the platform can be tried, in the layout of a real export."""
