# SPDX-License-Identifier: GPL-2.0-or-later
# control = dscp: the mark on what the server sends, as the kernel has it.
use strict;
use warnings;

part('DSCP' => sub {
    my ($lab) = @_;
    return check('ss of iproute2 is missing: not tested', 1) if !-x '/usr/bin/ss' && !-x '/bin/ss' && !-x '/usr/sbin/ss';
    $lab->start(main => "acl_smtp_connect = accept control = dscp/ef\n",
        acl => "  accept local_parts = high\n         control = dscp/0x30\n  accept local_parts = none\n         control = dscp/cs0\n"
          . "  accept local_parts = odd\n         control = dscp/quick\n  accept local_parts = bare\n         control = dscp\n");
    my $mark = sub {
        my $text = qx(ss -Htn --tos state established sport = :$lab->{port} 2>/dev/null);
        return $text =~ /tos:(0x[0-9a-f]+)/ ? $1 : '0x0';
    };
    my $c = $lab->client;
    is('by the connect ACL', $mark->(), '0xb8');
    $lab->say($c, 'EHLO x');
    $lab->say($c, 'MAIL FROM:<a@b.test>');
    is('a number', $lab->say($c, 'RCPT TO:<high@local.test>') . ' ' . $mark->(), '250 Accepted 0xc0');
    is('back to none', $lab->say($c, 'RCPT TO:<none@local.test>') . ' ' . $mark->(), '250 Accepted 0x0');
    is('an unknown word changes nothing', $lab->say($c, 'RCPT TO:<odd@local.test>') . ' ' . $mark->(), '250 Accepted 0x0');
    check('and is logged', $lab->log_has(qr/DSCP value 'quick' is not known/));
    is('none at all is an error', substr($lab->say($c, 'RCPT TO:<bare@local.test>'), 0, 3), '451');
});
1;
