"""SQL queries of the database of a folder of results. No torch."""

CORRECT = """
SELECT json_extract(jobs.result, '$.correct') FROM trials JOIN jobs ON jobs.key = trials.job_key
WHERE :study IS NULL OR study = :study
ORDER BY trials.rowid
"""

PRUNABLE = """
SELECT json_extract(masks.result, '$.total'), json_extract(masks.result, '$.parameters')
FROM trials JOIN jobs ON jobs.key = trials.job_key
JOIN jobs AS masks ON masks.key = json_extract(jobs.inputs, '$.mask')
WHERE study = :study AND json_extract(masks.result, '$.parameters') IS NOT NULL
LIMIT 1
"""

PACKAGES = """
SELECT DISTINCT json_extract(masks.spec, '$.method.name'), json_extract(masks.spec, '$.method.package.name'),
    json_extract(masks.spec, '$.method.package.version')
FROM trials JOIN jobs ON jobs.key = trials.job_key
JOIN jobs AS masks ON masks.key = json_extract(jobs.inputs, '$.mask')
WHERE study = :study AND json_extract(masks.spec, '$.method.package') IS NOT NULL
UNION
SELECT json_extract(jobs.spec, '$.network.name'), json_extract(jobs.spec, '$.network.package.name'),
    json_extract(jobs.spec, '$.network.package.version')
FROM trials JOIN jobs ON jobs.key = trials.job_key
WHERE study = :study AND json_extract(jobs.spec, '$.network.package') IS NOT NULL
UNION
SELECT json_extract(jobs.spec, '$.dataset'), json_extract(jobs.spec, '$.dataset_package.name'),
    json_extract(jobs.spec, '$.dataset_package.version')
FROM trials JOIN jobs ON jobs.key = trials.job_key
WHERE study = :study AND json_extract(jobs.spec, '$.dataset_package') IS NOT NULL
"""

DATES = """
SELECT min(jobs.finished_at), max(jobs.finished_at) FROM trials JOIN jobs ON jobs.key = trials.job_key
WHERE study = :study
"""

OVERLAPS = """
SELECT replicate, sparsity, json_extract(masks.result, '$.initial_overlap')
FROM trials JOIN jobs ON jobs.key = trials.job_key
JOIN jobs AS masks ON masks.key = json_extract(jobs.inputs, '$.mask')
WHERE study = :study AND benchmark = 'magnitude-after-training' AND ablation = 'unmodified'
    AND json_extract(masks.result, '$.initial_overlap') IS NOT NULL
ORDER BY trials.rowid
"""

# A shuffled mask is made where it is trained; any other is a job of its own.
LAYERS = """
SELECT study, network, dataset, method, ablation, benchmark, prune_at, sparsity, replicate,
    coalesce(json_extract(jobs.result, '$.layers'), json_extract(masks.result, '$.layers')) AS layers
FROM trials
JOIN jobs ON jobs.key = trials.job_key AND jobs.status != 'failed'
LEFT JOIN jobs AS masks ON masks.key = json_extract(jobs.inputs, '$.mask')
WHERE study = :study AND layers IS NOT NULL AND ablation IN (SELECT value FROM json_each(:ablations))
ORDER BY trials.rowid
"""

CURVES = """
SELECT study, network, dataset, method, ablation, benchmark, prune_at, sparsity, replicate,
    job_key, json_extract(result, '$.curve')
FROM trials JOIN jobs ON jobs.key = trials.job_key AND jobs.status != 'failed'
WHERE (:study IS NULL OR study = :study) AND ablation IN (SELECT value FROM json_each(:ablations))
ORDER BY trials.rowid
"""

# One of the dense network, in however many stretches, and those of subnetworks, also in rounds that have no trial.
TRAININGS = """
WITH RECURSIVE needed (key) AS (
    SELECT job_key FROM trials WHERE study = :study
    UNION
    SELECT inputs.value FROM needed JOIN jobs ON jobs.key = needed.key, json_each(jobs.inputs) AS inputs
)
SELECT (SELECT count(*) FROM needed JOIN jobs ON jobs.key = needed.key WHERE kind = 'train')
    + (SELECT count(DISTINCT replicate) FROM trials WHERE study = :study)
"""

# Of a dense network the seconds are those of its last stretch alone, see DENSE_SECONDS.
RESULTS = """
SELECT trials.study, trials.network, trials.dataset, trials.method, trials.ablation, trials.benchmark, trials.prune_at,
    trials.sparsity, trials.replicate, trials.job_key,
    json_extract(jobs.result, '$.density') AS density,
    coalesce(json_extract(jobs.result, '$.effective_density'), json_extract(masks.result, '$.effective_density'))
        AS effective_density,
    json_extract(masks.result, '$.unscored') * 1.0 / json_extract(masks.result, '$.kept') AS unscored,
    json_extract(jobs.result, '$.test_accuracy') AS test_accuracy,
    json_extract(jobs.result, '$.test_loss') AS test_loss,
    json_extract(jobs.result, '$.train_seconds') AS train_seconds,
    jobs.kind, jobs.status, jobs.code_version, jobs.torch_version, jobs.device,
    json_extract(jobs.result, '$.engine') AS engine, json_extract(jobs.result, '$.processor') AS processor,
    json_extract(jobs.result, '$.metric_value') AS metric_value
FROM trials JOIN jobs ON jobs.key = trials.job_key
LEFT JOIN jobs AS masks ON masks.key = json_extract(jobs.inputs, '$.mask')
WHERE :study IS NULL OR study = :study
ORDER BY trials.rowid
"""

# A stretch of dense training starts where another one ended.
DENSE_SECONDS = """
SELECT key, json_extract(inputs, '$.start'), coalesce(json_extract(result, '$.train_seconds'), 0) FROM jobs
WHERE kind = 'dense'
"""

DENSE_CURVES = """
SELECT key, json_extract(inputs, '$.start'), json_extract(result, '$.curve') FROM jobs WHERE kind = 'dense'
"""
