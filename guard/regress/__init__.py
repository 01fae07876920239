"""What a policy and the models behind it do on labelled texts.

    evaluate   figures of a labelled data set: per category, binary, per language
    report     the same as Markdown

The regression suite's cases and flips will stand here as well.
"""
