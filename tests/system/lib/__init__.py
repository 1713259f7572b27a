"""What the system tests share: the program under test, its senders and destinations, the checkers."""
