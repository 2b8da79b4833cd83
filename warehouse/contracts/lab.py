"""Raw tables of the lab: the truth that estimates are compared with, and the settings of its noise. All synthetic."""

from warehouse.contracts.fields import MODEL_ID, by_name, integer, number, table, text

LAB_MIXES = table(
    "lab_mixes",
    "One row per study, base model of the lab and domain: share of that domain in its pre-training text.",
    ("model_id", "domain"),
    MODEL_ID,
    text("domain", "Domain: Github, Book, ArXiv, Wikipedia or StackExchange."),
    number("share", "True share of the pre-training tokens, 0 to 1; a further stage has its pre-trained model's."),
    text("pretrained_model_id", "Model whose pre-training this is: the model itself, or the first of its ancestors."),
    integer("pretraining_tokens", "Tokens of that pre-training, as the study file asks for them."),
    number("parameters_m", "Parameters of the model, in millions, tied embeddings counted once."),
)

LAB_ATTRIBUTE_WEIGHTS = table(
    "lab_attribute_weights",
    "One row per study and attribute: its weight in the true utility that the lab's preferences follow.",
    ("attribute",),
    text("attribute", "helpfulness, correctness, coherence, complexity or verbosity."),
    number("weight", "Weight, a multiple of 0.05; only the direction of the five matters for a preference."),
)

LAB_SETTINGS = table(
    "lab_settings",
    "One row per study and setting of its lab: noise, and sizes of its data.",
    ("setting",),
    text("setting", "Name of the setting in the study file, such as preference_noise."),
    number("value", "Its value."),
)

LAB_TABLES = by_name(LAB_MIXES, LAB_ATTRIBUTE_WEIGHTS, LAB_SETTINGS)
"""Raw tables that making a lab fills, by name."""
