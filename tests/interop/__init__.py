"""What message_bus promises its users, held by Trunkline: one module per suite of theirs."""
