"""What a policy and the models behind it do on labelled texts.

cases      texts that a policy's author has an opinion about, kept beside the policy
run        every case asked and held against what is expected
scores     per category and per tag, with intervals
flips      what changed since a baseline, and whether that is more than chance
diff       two policies, or two reports, side by side: what `guard policy diff` finds
sources    what it is given: a policy by name or folder, at a git revision, or a report
revisions  policies as git remembers them
changelog  what changed in each policy over git's history
gates      what must be reached
suite      a policy with all of these: what `guard test` runs
attacks    texts written otherwise, for people the same
perturb    which verdicts bear them: what `guard perturb` runs
evaluate   figures of a labelled data set: per category, binary, per language, rail and group
formats    published data sets, read as the rows of an evaluation
curves     what a page draws of scores
cascade    what the cascade saves and loses against the screen alone and the judge alone
fits       curves from scores to probabilities, measured on rows that they have not seen
thresholds for a false-positive rate, with what the number of negatives shows
calibrate  scores with labels in, a policy's `calibration.yaml` out
reports    what was found, for people and machines
"""
