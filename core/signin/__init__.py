"""How somebody proves who they are: secrets, passwords, the signed cookie, the throttle."""
