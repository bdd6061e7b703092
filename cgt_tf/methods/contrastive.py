def discriminator_term(weight):
    return None
