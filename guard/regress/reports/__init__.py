"""What was found, in the forms that people and machines read.

evaluation    figures of labelled data, as Markdown
terminal      a policy's cases, for a terminal
junit         the same as JUnit's XML
annotations   failed cases as GitHub's annotations, and a summary as Markdown
stability     which verdicts bear attacks, for a terminal
cases         cases as the YAML that they are read from
page          the same, or an evaluation, as one self-contained HTML page
"""
