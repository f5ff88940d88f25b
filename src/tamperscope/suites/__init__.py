"""Many models on many data sets under one protocol: what has to be trained and judged, and doing it, resumably.

    suite (TOML) ─▶ plan ─┬─ Chain: training ─▶ judging, judging … ─┐
                          ├─ Chain: judging (a Card)                 ├─▶ tables ─▶ leaderboard.*
                          └─ …                                      ─┘

Training and judging are commands in processes of their own (`child`): memory is that of one model, a crash is that of
one model, and every row of the leaderboard comes with the commands that a person would give. The folder of a job
carries a digest of all that makes its result: what is there and matches is done, whatever the suite has come to say.

    OUT/suite.toml        a copy
    OUT/manifests/        what is trained on and judged where a generator is left out
    OUT/leaks/            which data sets were found not to leak
    OUT/pictures/         decoded pictures, which all trainings share
    OUT/runs/JOB/         a training, see `train.baseline`
    OUT/evaluations/JOB/  an evaluation, see `evaluate.evaluation`
    OUT/jobs/JOB.json     its command and what it took; JOB.log what it printed
    OUT/leaderboard.*     html, md, csv, json; leaderboard-N.svg, the plot of table N
"""
