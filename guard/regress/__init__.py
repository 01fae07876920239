"""What a policy and the models behind it do on labelled texts.

    evaluate   figures of a labelled data set: per category, binary, per language
    cascade    what the cascade saves and loses against the screen alone and the judge alone
    report     the same as Markdown

The regression suite's cases and flips will stand here as well.
"""
