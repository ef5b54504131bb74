"""From a merged model to staging, and by a reviewed pull request to production. Every step can be run twice.

Git is the record: what runs where is one file in each overlay, and its history says since when and by whom.
"""
