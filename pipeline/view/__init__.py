"""Look at the clips of a store in a browser: `mer view`."""
