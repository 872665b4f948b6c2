"""Helpers that tests of several packages share; every module is independent of the tests that use it.

models                configs, golden numbers and models small enough for a test
gaussian_images       images whose sampled law is known in closed form
training_recorder     an observer of the training loop that records its calls
feature_standins      stand-ins for the files of feature networks
tiny_autoencoders     real classes of autoencoders with random weights
dataset_files         datasets in memory: folders, tars, Parquet files, clips
latent_stores         stores of latents with known samples, and failing sources
encodings, measuring  encodings and measurements on one evaluator in this process
process_group, finetuning_group   trainings in a gloo process group, without Ray
checkpoints, state_folders, collectives   states saved and read whole; a counter of collectives
plans, stored_sweeps  published plans and stored sweeps without running any
searches              searches over a made-up evaluation
sweeps                whole sweeps in processes of their own
table4_files          stand-ins for the files of sweeps/table4.yaml
mlflow_server, mlflow_records, postgres, s3, ports   servers on loopback and readers of them
ray_nodes, hosts      Ray clusters of several nodes, and hosts in network namespaces
"""
