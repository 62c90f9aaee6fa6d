"""Where in a long recording an expression is: intervals, their scores against chance, and plain methods."""
