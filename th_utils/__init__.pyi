# The public names, one spelling each. `__init__.py` loads them when they are first used (lazy_loader).
from . import stats as stats, tasks as tasks, views as views
from .channels.channel import Channel as Channel, channel as channel, channel_from as channel_from
from .channels.channel import random_channel as random_channel
from .channels.edit_files import load_edits as load_edits, save_edits as save_edits
from .channels.edits import Edit as Edit, edited as edited, scale_component as scale_component, scale_head as scale_head
from .channels.edits import scale_query as scale_query, scale_reading as scale_reading, set_component as set_component
from .channels.reach import margins as margins, plain_attention as plain_attention, position_codes as position_codes
from .channels.sweep import best_settings as best_settings, traverse as traverse
from .models import laws as laws, parts as parts, state as state
from .models.heads import head_weights as head_weights, write_model as write_model
from .models.loading import load_model as load_model, model_name as model_name, setup as setup
from .notebook import ClaimFailed as ClaimFailed, claim as claim, exercise as exercise, heads as heads
from .notebook import identity as identity, read as read, table as table
from .runs.ablation import ablated as ablated, keep_heads as keep_heads, random_like as random_like
from .runs.attribution import direct_logit_attribution as direct_logit_attribution
from .runs.ioi_circuit import Thresholds as Thresholds, attention_gap as attention_gap, clean_gap as clean_gap
from .runs.ioi_circuit import find_circuit as find_circuit, head_table as head_table, mover_roles as mover_roles
from .runs.ioi_circuit import query_effects as query_effects, source_roles as source_roles
from .runs.ioi_circuit import value_effects as value_effects
from .runs.metrics import answer_loss as answer_loss, divergence as divergence, logit_difference as logit_difference
from .runs.metrics import logits as logits, run_loss as run_loss, text_loss as text_loss, top1 as top1
from .runs.patching import Edge as Edge, patch_edges as patch_edges, patch_input as patch_input
from .runs.patching import path_patch as path_patch
from .runs.record import Run as Run
from .runs.run import keys_and_values as keys_and_values, rerun as rerun, rerun_last as rerun_last, run as run
from .stats import Estimate as Estimate
from .tasks.prompts import Prompts as Prompts, token_strings as token_strings
from .views import live as live
from .weights.composition import component_scores as component_scores, head_scores as head_scores
from .weights.composition import random_band as random_band, rotated_null as rotated_null
from .weights.composition import rotated_queries as rotated_queries
from .weights.heads import HeadWeights as HeadWeights, label as label
from .weights.ranking import predictive_power as predictive_power
