"""What a model does, measured: answers, safe rate, over-refusal, ability, and what two models differ in."""
