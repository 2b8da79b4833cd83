"""Checks of responses against what prompts ask for.

- `math_answer`: the answer of a problem, by math-verify.
- `code_tests`: a program's tests; `isolated` is the program that runs them, apart from everything else.
- `labels`: people's labels of responses.
- `verdict`: what a check finds.
"""
