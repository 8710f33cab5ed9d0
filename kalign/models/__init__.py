"""Language models: where their files come from, how they are loaded, and how a conversation becomes
tokens."""
